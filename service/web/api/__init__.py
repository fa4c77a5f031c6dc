"""`/v1`: JSON for programs. Each file is one subject; what is decided, previewed or sent stands in service.admin.

In come requests whose caller is known (service.web.access); out go values, or problem details.

    common                what the routes share: the desk, pages, audit
    messages              the way in for an LMS without Kafka
    records, learners     how somebody stands, why, all that is kept
    uploads, courses, rules   what administrators do
    operations, changes   lanes and dead letters; what goes out, as it goes
    trail                 who changed what
"""
