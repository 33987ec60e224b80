"""HTTP API and web page: what programs that speak HTTP, and people, have to do with Pillarbox."""
