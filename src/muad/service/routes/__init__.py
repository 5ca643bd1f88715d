"""What the station answers over HTTP, a file for each subject; `/v1` is the contract, described by OpenAPI."""
