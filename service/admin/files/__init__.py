"""Files that people hand in, as they see them: in come paths, out come rows of texts, and what was not read.

cells          what a row and a cell are
spreadsheet    opens any file: finds the table and its headings, whatever program wrote it
delimited      CSV and its kin
workbook, old_workbook, opendocument, web_page    XLSX, XLS, ODS, and web pages that are called .xls
words          yes and no, minutes, percents;  `moments`: dates and times
results        the file that was handed in, with columns added
"""
