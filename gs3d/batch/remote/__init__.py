"""Rows whose files go to a URL: any that fsspec knows, such as s3:// or gs://."""
