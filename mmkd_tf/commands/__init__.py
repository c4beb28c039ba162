"""What the command line has beside the commands themselves, and those that need no run."""
