"""What a person reads of a build: statistics, the report, the cards, the browser."""
