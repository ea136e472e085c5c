"""A plan's table as a sheet, both ways: bytes -> grids -> rows of workloads -> text of a plan, and back.

cells     what stands where, and what is wrong there     figures   numbers as English and other people write them
csv_text  CSV bytes, read and written                    xlsx_book XLSX bytes, read and written
texts     values in cells that read back the same        tree      a plan as plain data
columns   what a column may say, under which names       mapping   which header means which column
layout    header, rows, totals, notes                    reading   cells to workloads, or every fault
moments   quarters and dates                             averages  where a mean hides what it stands for
tables    workloads to a table, and by quarter           rest      everything else of a plan, leaf by leaf
yaml_text the text of a plan, changed where it must be

Pure rules: files are read and written by the commands.
"""
