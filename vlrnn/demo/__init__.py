"""The web page: models that are tried in a browser, and what keeps a server that strangers reach from harm."""
