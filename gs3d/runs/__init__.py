"""One run and its folder: prepare a request, execute the plan, write the results."""
