"""The tools of the book: run pages, derive files, copy pages for a learner, and the site's configuration."""
