"""The artefacts of a release, as users install them: `make install-tests` (docs/releasing.md).

ASYNCREV_DIST names the folder that they are in. Every program here runs in an environment of its
own and outside of the checkout.
"""
