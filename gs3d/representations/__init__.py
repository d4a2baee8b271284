"""What is optimised: splats now; each can be rendered, regularised, densified and saved."""
