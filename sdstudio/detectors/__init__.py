"""What finds things in pictures, a file for each."""
