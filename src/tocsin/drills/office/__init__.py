"""The parts of the practice post office: SMTP in, spool, index, returned mail, and the web page."""
