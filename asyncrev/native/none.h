/* What both extensions return where there is nothing to return. Include Python.h before. */
#ifndef ASYNCREV_NONE_H
#define ASYNCREV_NONE_H

/* None, referred to. Py_RETURN_NONE takes no reference in the headers of CPython 3.12.1 and 3.13.0
 * (Include/object.h), not even for the limited API of 3.11; but 3.11, where the extension may run, counts
 * those to None, and ends when there are none. */
static inline PyObject *new_none(void) { return Py_NewRef(Py_None); }

#endif
