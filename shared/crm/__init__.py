"""What Leadpact knows of CRMs: HubSpot's signatures, payloads and API, and a simulator of it."""
