"""Runs the command line as `python -m mmkd_tf`."""

from mmkd_tf.cli import main

if __name__ == "__main__":
    main()
