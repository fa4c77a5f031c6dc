"""The console: pages rendered on the server, usable without JavaScript, in the reader's language and time zone.

In come requests whose caller is known; out go pages. What a page shows comes from service.admin and service.web.api.

    render          templates, language, zone; templates/ has the pages, static/ what they need
    catalogue       what is said, a file of texts/ a language; sentences finds what the service tells in it
    words, picture  facts and changes in words; percent over time as SVG
    forms           what a form says, once its token is checked
    look            why: learners, records, their timelines, what would happen if
    upload, reassign, courses   what administrators do
    operate, tables, trail      lanes and dead letters; the rules; who changed what
    choices         language and time zone
"""
