"""Files: tables, shards, what is kept, and files that are written whole or not at all."""
