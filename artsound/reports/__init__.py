"""Output for people: statistics, the report, the cards, the browser."""
