"""Images, animations and videos."""
