"""The only code that calls AWS, through botocore."""
