"""Metrics of generated objects: does it match the prompt from every side, and how clean is it?"""
