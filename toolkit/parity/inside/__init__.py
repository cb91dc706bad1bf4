"""Inside a package, op by op: which op is out of bounds, and what float16 cannot hold."""
