"""Media and text turned into vectors: measured descriptors, and learned encoders."""
