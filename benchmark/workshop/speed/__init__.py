"""How fast the suite is: against hand-written floors, against bare loops, against the machine."""
