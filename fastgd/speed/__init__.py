"""How fast this machine is, and how near the kernels come: `fastgd bench`, `make bench`."""
