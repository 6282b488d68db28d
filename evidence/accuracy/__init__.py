"""How good forecasts, choices and stated probabilities are, on published curves and on our own."""
