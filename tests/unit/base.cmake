hak_unit(base_wire unit/base_wire.c hak_base)
hak_unit(base_print unit/base_print.c hak_base)
