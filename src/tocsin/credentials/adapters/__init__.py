"""Connectors, one file per outside system: `Adapter(name, options, secret)` keeps the promises of `credentials.port.Connector`.

options   what stands under [connectors.NAME], without `adapter`
secret    what the connector signs in with (a client secret, an API token, a key); None where the target asks for none
"""
