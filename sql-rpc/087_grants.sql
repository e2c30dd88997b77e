-- grants(p_type, p_acl, p_owner, p_is_default): what roles other than the owner may do, as parts of a
-- definition: {grant, role, privileges, null, null}.
--
-- `all` stands for every privilege that such an object has: PostgreSQL 17 added `maintain` to tables, and
-- `grant all` of an older dump includes it there. The owner is listed only where a privilege was
-- revoked from it. p_type is the letter that acldefault() takes. p_is_default: these are default privileges, which need not
-- list the owner.
create function ctx0_private.grants(p_type "char", p_acl aclitem[], p_owner oid, p_is_default boolean default false)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(array_agg(array['grant', g.role, g.privileges, null, null] order by g.role collate "C"), '{}')
      from (
        select case a.grantee when 0 then 'public' when p_owner then 'owner' else a.grantee::regrole::text end as role,
               case when count(a.privilege) < f.number or f.number = 1
                    then coalesce(string_agg(a.privilege || case when a.grantable then ' with grant option' else '' end,
                                             ', ' order by a.privilege), 'nothing')
                    when bool_and(a.grantable or a.privilege = 'maintain') then 'all with grant option'
                    else concat_ws(', ', 'all', string_agg(a.privilege || ' with grant option', ', ' order by a.privilege)
                                                filter (where a.grantable)) end as privileges,
               a.grantee <> p_owner or count(a.privilege) < f.number as told
          from (select x.grantee, lower(x.privilege_type) as privilege, bool_or(x.is_grantable) as grantable
                  from aclexplode(coalesce(p_acl, acldefault(p_type, p_owner))) x
                 group by x.grantee, lower(x.privilege_type)
                union all
                select p_owner, null, false
                 where not p_is_default
                   and not exists (select from aclexplode(coalesce(p_acl, acldefault(p_type, p_owner))) x
                                    where x.grantee = p_owner)) a
         cross join (select count(*) as number
                       from aclexplode(acldefault(p_type, p_owner)) d
                      where d.grantee = p_owner) f
         group by a.grantee, f.number
      ) g
     where g.told);
end
$$;

comment on function ctx0_private.grants("char", aclitem[], oid, boolean) is
  'ctx0: what roles other than the owner may do with an object';

-- grants_in_words(p_type, p_acl, p_owner): the same in one text.
create function ctx0_private.grants_in_words(p_type "char", p_acl aclitem[], p_owner oid)
returns text
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_parts constant text[] := ctx0_private.grants(p_type => p_type, p_acl => p_acl, p_owner => p_owner);
begin
  return (select coalesce(string_agg(v_parts[i][2] || ' ' || v_parts[i][3], ', ' order by i), 'nobody')
            from generate_subscripts(v_parts, 1) i);
end
$$;

comment on function ctx0_private.grants_in_words("char", aclitem[], oid) is
  'ctx0: what roles other than the owner may do with an object, in one text';
