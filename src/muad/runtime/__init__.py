"""A trained detector at work on photographs: what scores views, and the predictor that says all there is to say."""
