"""What reads words in pictures, a file for each."""
