"""Jobs on a Ray cluster: needs the extra `ray`, which is imported when an executor is made."""
