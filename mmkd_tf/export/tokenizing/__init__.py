"""What lies behind text_bytes.py: tables of characters and words for a graph."""
