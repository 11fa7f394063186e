"""A made-up log in FalconCode's formats. Nothing in it was written by a student of that course, or of any other."""
