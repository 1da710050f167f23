"""What a release is made with: artefacts, checks of them, and the list of what is in them.

docs/releasing.md says when each is run. Nothing here is installed.
"""
