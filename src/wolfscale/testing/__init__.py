"""Stand-ins and simulators for tests; nothing else imports them."""
