"""From the answer to the model: train it, save it as others read it, and write down what became of the forecast."""
