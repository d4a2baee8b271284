"""Many runs from a list: checked first, made by workers that keep the prior, continued later."""
