"""The commands of ``python -m workspace``, one module each, named as the command. ``__main__`` lists them."""
