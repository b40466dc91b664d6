"""The one version: of the engine, its API, its stream and its command line.

A release has its number here and as the newest section of CHANGELOG.md. Between releases it is the next one's, with
``.dev0``, and what has changed is under "Unreleased".
"""

VERSION = "0.2.0.dev0"
