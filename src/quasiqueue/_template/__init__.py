"""Code that runs in the template process."""
