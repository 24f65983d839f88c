"""How clients connect: stdin and stdout, or HTTP."""
