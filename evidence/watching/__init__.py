"""Whether `lensllm watch` raises an alarm in time, and never without a cause."""
