"""A made-up log in Pencil Code's formats. Nobody on Pencil Code, and no model, wrote anything in it."""
