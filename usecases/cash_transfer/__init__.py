"""The cash transfer of the Ministry of Social Welfare: from a household's application to money on its account.

The ministry's app keeps cases, decides by the programme file (``country/programmes/CT-01.yaml``), and does everything else by
asking others through its gateway: identity says who somebody is, consent whether they agreed, the registries answer the
questions that the programme asks, payments moves the money, messaging writes the letters. Nothing here reads another
organisation's tables, and nothing is done twice: every effect on others carries an id that is fixed before it is sent.
"""
