"""The files of results, small pictures of them, and image files of this computer."""
