"""The routes, one group a module: each has `router(services)`, which `wolfscale.api.app` puts together."""
