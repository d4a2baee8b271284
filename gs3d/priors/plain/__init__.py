"""The networks of the built-in prior in plain torch.

diffusers and transformers compute the same with the same files, but importing them takes several
times as long as importing torch. They still read every other model, and train this one.
"""
