"""Probes of a loaded model: what it says when it is shown something else. The audits of files are vlrnn.probes."""
