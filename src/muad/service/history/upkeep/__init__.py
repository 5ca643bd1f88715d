"""What is done with a history as a whole: taken out as tables, thinned out, copied while it runs, put back."""
