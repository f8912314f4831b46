-- The translator of a cluster whose provider speaks the dialect of its clients: none.

return {}
