"""The Generate page's tabs, a file each."""
